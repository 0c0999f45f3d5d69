// The verbs of the command line. Each prints what a person wants to see and returns an exit code.
#pragma once

#include <string>

namespace greensup {

/// How the supervisor that is meant was named; the first that is not empty counts.
struct Target {
    std::string run_dir;
    std::string file;  // else workers.toml in the working directory
};

int check_file(const std::string& file, bool as_json);
int show_status(const Target& target, bool as_json);
int reload(const Target& target, bool waits, bool as_json);
int shut_down(const Target& target, bool fast);

}  // namespace greensup
