"""HTTP front: authority, limits, who the visitor is; answers when the log has the hit."""
