"""What the operating system does to a process: signals, and faults of files, memory and workers."""
