"""What must hold for the images, on a real engine and a real registry."""
