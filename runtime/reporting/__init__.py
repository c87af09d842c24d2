"""What a run leaves for people: the report, its pictures, the model card, the last lines on the screen."""
