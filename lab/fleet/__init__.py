"""Many NAS whose users all dial at once, over a bad line: what a controller meets when a region's power comes back."""
