"""What a project holds, for editors and for people: JSON Schemas and one page of HTML."""
