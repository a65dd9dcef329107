"""Operations on labelled arrays."""
