#include "memory.hpp"

#include <fstream>
#include <stdexcept>
#include <string>

namespace bench {

Memory memory_of(pid_t process) {
    const std::string path = "/proc/" + std::to_string(process) + "/status";
    std::ifstream status{path};
    Memory memory;
    int found = 0;
    std::string key;
    // "VmRSS:     5120 kB"
    while (status >> key) {
        std::uint64_t* const field = key == "VmRSS:"   ? &memory.resident
                                     : key == "VmPTE:" ? &memory.page_tables
                                                       : nullptr;
        if (field != nullptr && status >> *field) {
            *field *= 1024;
            ++found;
        }
        std::getline(status, key);
    }
    if (found != 2) throw std::runtime_error(path + " does not tell the memory");
    return memory;
}

}  // namespace bench
