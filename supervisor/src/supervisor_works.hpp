// What a supervisor consists of once it runs.
#pragma once

#include "supervisor.hpp"

namespace greensup {

struct Supervisor::Works {
    Works(const Environment& ours, const RunPaths& paths, green::Event& changed)
        : log{paths.transitions()},
          spawner{ours, paths.processes()},
          fleet{spawner, log, changed},
          roller{fleet},
          reloader{fleet, roller, Editor{paths.queues()}},
          stopper{fleet, changed} {}

    TransitionLog log;
    Spawner spawner;
    Fleet fleet;
    Roller roller;
    Reloader reloader;
    Stopper stopper;
};

}  // namespace greensup
