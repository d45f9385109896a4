"""What a person or a script sees of a run: one module per format, pure functions of a JudgedRun."""
