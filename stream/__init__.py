"""The log: one small protocol (stream.protocol), one module per implementation."""
