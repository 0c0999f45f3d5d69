#pragma once

#include <array>
#include <cstddef>

#include "keep.hpp"

namespace bench {

/// A multiplication that leaves other status flags in MXCSR for odd `i` (overflow and inexact) than
/// for even `i` (inexact): contexts that have done it differ in them.
inline void raise_float_flags(std::size_t i) {
    static std::array<volatile double, 2> factors{0.1, 1e308};
    double product = factors[i % 2] * 10.1;
    keep(product);
}

}  // namespace bench
