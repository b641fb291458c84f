"""What an author cannot have meant: of terms, not of files."""
