"""The embedded AWS itself: the emulator as a child process, what it gets wrong corrected, and faults on demand."""
