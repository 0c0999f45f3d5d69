// Reads ticks and writes lines to its standard output, which is a pipe to an ordinary program.
#include <cstdio>

#include <green/workers/worker.hpp>

#include "tick.capnp.h"

int main(int argc, char** argv) {
    green::workers::Worker worker{argc, argv};
    auto ticks = worker.reader<Tick>("ticks");
    worker.ready();
    for (auto tick : ticks) {  // ends when the worker is to go
        std::printf("%u %llu\n", tick->getProcess(),
                    static_cast<unsigned long long>(tick->getNumber()));
        std::fflush(stdout);  // waits while the pipe is full; this process has nothing else to do
    }
}
