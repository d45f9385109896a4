"""What runs inside the guest: asks the kernel, prints one JSON line per event, judges nothing.

Standard library only, and little of it: under emulation every import costs tens of milliseconds.
"""
