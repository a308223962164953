"""What people read: terminal tables, progress bars."""
