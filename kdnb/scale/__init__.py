"""What does a study cost, and how does it run on more machines, more memory and more images than one has?"""
