"""Chats: a template rendered in Python, and learned for the graph."""
