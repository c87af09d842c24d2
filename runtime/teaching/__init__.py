"""What a distillation is made of: teachers, how far a student is from them, and what of them is kept on disk."""
