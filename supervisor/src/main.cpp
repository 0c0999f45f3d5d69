#include "cli.hpp"

int main(int argc, char** argv) { return greensup::run_command_line(argc, argv); }
