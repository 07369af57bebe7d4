"""Pages that a browser shows: one file each, with nothing from elsewhere, and no script."""
