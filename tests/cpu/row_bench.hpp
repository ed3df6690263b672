// The bench of cpu/native, by the name that tests use.
#pragma once

#include "cpu/native/row_bench.hpp"
#include "tests/cpu/native_oracle.hpp"

namespace xenolith::test {

using cpu::EmptyWorld;
using cpu::model_like_the_host;
using cpu::model_with_everything;
using cpu::RowBench;

}  // namespace xenolith::test
