"""`din-train tune`: search for better settings on the validation split, and score the winner on the test split once."""
