// The oracle of cpu/native, by the name that tests use.
#pragma once

#include "cpu/native/native_oracle.hpp"

namespace xenolith::test {

using cpu::NativeFault;
using cpu::NativeMode;
using cpu::NativeOracle;
using cpu::NativeOutcome;
using cpu::NativeRegisters;
using cpu::NativeUnits;

}  // namespace xenolith::test
