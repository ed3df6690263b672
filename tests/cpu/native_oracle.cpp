// Now in cpu/native/native_oracle.cpp.
