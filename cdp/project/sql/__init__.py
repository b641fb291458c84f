"""What a SELECT or an expression of an author may say."""
