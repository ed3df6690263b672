"""What tests, benchmarks and scripts have in common about guests: packages, initial RAM disks, emulators, dialogues."""
