"""What tables hold, how they are written and how they are read back; nothing of plots."""
