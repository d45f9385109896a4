"""Other machines that boot guests: hosts.yaml, what each of them can do, and how one is made ready."""
