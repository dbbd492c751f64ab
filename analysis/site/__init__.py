"""Chapters become pages: HTML, Markdown and PDF."""
