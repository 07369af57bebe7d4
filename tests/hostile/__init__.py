"""Files that would bring a tool down, or talk it into another verdict, and what it must say of each."""
