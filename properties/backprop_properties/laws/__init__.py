"""What must hold of any operation, and how a claim is judged."""
