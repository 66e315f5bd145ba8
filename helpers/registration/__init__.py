"""Registration: fields of displacement, demons, rigid alignment, similarity."""
