"""Initial RAM disks in the "newc" form of cpio, written entry by entry: no root, no files on the host."""

import os

FOLDER, FILE, LINK, CHARACTER_DEVICE = 0o040000, 0o100000, 0o120000, 0o020000


class Archive:
    """The same entries in the same order give the same bytes. Of two entries with one path, the first stays."""

    def __init__(self):
        self.bytes = bytearray()
        self.number = 0
        self.seen = set()

    def add(self, path, mode, content=b"", device=(0, 0)):
        parent = os.path.dirname(path)
        if parent and parent not in self.seen:
            self.folder(parent)
        if path in self.seen:
            return
        self.seen.add(path)
        self.number += 1
        name = path.encode() + b"\0"
        # inode, mode, owner, group, links, time, size, device of the file, device it stands for, length of name, sum
        fields = (self.number, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(name), 0)
        self.bytes += b"070701" + b"".join(b"%08x" % field for field in fields) + name
        self.pad()
        self.bytes += content
        self.pad()

    def folder(self, path, permissions=0o755):
        self.add(path, FOLDER | permissions)

    def file(self, path, content, permissions=0o755):
        self.add(path, FILE | permissions, content)

    def link(self, path, target):
        self.add(path, LINK | 0o777, target.encode())

    def character_device(self, path, major, minor, permissions=0o600):
        self.add(path, CHARACTER_DEVICE | permissions, device=(major, minor))

    def pad(self):
        self.bytes += b"\0" * (-len(self.bytes) % 4)

    def finish(self):
        self.add("TRAILER!!!", 0)
        return bytes(self.bytes)
