"""How networks are trained: one loop, its objectives, augmentation, search, and many models as one program."""
