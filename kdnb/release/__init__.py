"""How does a study leave this package? Its networks, in forms that other programs run."""
