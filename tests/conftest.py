"""Settings that hold for every test."""

from hypothesis import settings

settings.register_profile("default", deadline=None)  # a loaded machine is no defect of the code
settings.load_profile("default")
