#pragma once
// A pipe of the kernel, or of the simulation.

#include <string_view>

#include <green/fd.hpp>
#include <green/sys.hpp>

namespace tests {

struct Pipe {
    Pipe() {
        int ends[2];
        green::sys::must(green::sys::pipe2(ends), "pipe2");
        reader = green::Fd{ends[0]};
        writer = green::Fd{ends[1]};
    }
    void put(std::string_view text = "x") const {
        green::sys::must(green::sys::write(writer.number(), text.data(), text.size()), "write");
    }
    /// One byte.
    void take() const {
        char byte;
        green::sys::must(green::sys::read(reader.number(), &byte, 1), "read");
    }
    green::Fd reader;
    green::Fd writer;
};

}  // namespace tests
