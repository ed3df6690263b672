// A file descriptor that closes itself.
#pragma once

#include <unistd.h>

#include <utility>

namespace xenolith::loader {

class FileDescriptor {
  public:
    // Negative, as what a failed open(2) or socket(2) returns: none.
    explicit FileDescriptor(int number = -1) : number_(number) {}
    FileDescriptor(FileDescriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
    FileDescriptor& operator=(FileDescriptor&& other) noexcept {
        std::swap(number_, other.number_);
        return *this;
    }
    ~FileDescriptor() {
        if (is_open()) ::close(number_);
    }

    int number() const { return number_; }
    bool is_open() const { return number_ >= 0; }

  private:
    int number_;
};

}  // namespace xenolith::loader
