"""Keys for people: the file of named keys, and what each of them may do."""
