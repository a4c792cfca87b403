"""The hitstream command: settings, supervisor, operator commands."""

__version__ = "0.1.0"
