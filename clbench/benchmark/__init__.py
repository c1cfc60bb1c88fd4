"""What a benchmark file may contain: its sections and schedules, and the files that come with the package."""
