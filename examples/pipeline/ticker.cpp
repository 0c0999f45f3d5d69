// Writes a tick now and then into a pipe that others of its kind write too.
#include <unistd.h>

#include <green/workers/worker.hpp>

#include "tick.capnp.h"

int main(int argc, char** argv) {
    green::workers::Worker worker{argc, argv};
    auto ticks = worker.writer<Tick>("ticks");
    worker.ready();
    for (std::uint64_t number = 0; !worker.draining(); ++number) {
        ticks.put([&](Tick::Builder tick) {  // waits while the pipe is full
            tick.setProcess(static_cast<std::uint32_t>(::getpid()));
            tick.setNumber(number);
        });
        green::sleep(std::chrono::milliseconds(10));
    }
}
