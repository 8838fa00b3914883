"""The tap in the listener's process, a project of its own: see pyproject.toml beside this file.

busmon imports from it what identifies a message. It imports nothing of busmon.
"""
