// The command line.
#pragma once

namespace greensup {

/// Does what the arguments say. Returns the exit code.
int run_command_line(int argc, const char* const* argv);

}  // namespace greensup
