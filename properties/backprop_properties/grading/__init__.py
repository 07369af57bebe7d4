"""Courses: what an assignment asks for, what was handed in, and what that is worth."""
