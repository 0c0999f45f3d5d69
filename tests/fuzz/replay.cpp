// Stands in for libFuzzer: gives the target each file that is named, or that is in a folder that
// is named, and prints the name first. It ends well if the target does.

#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <vector>

#include "fuzz.hpp"

namespace {

void replay(const std::filesystem::path& path) {
    std::ifstream file{path, std::ios::binary};
    const std::vector<char> bytes{std::istreambuf_iterator<char>{file}, {}};
    std::cout << path.string() << ": " << bytes.size() << " bytes" << std::endl;
    fuzz::expect(file.good() || file.eof(), "this file cannot be read");
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
}

}  // namespace

int main(int argc, char** argv) {
    std::size_t replayed = 0;
    for (int i = 1; i < argc; ++i) {
        std::vector<std::filesystem::path> files;
        if (std::filesystem::is_directory(argv[i])) {
            for (const auto& entry : std::filesystem::directory_iterator{argv[i]})
                files.push_back(entry.path());
        } else {
            files.emplace_back(argv[i]);
        }
        std::sort(files.begin(), files.end());
        for (const auto& file : files) replay(file);
        replayed += files.size();
    }
    fuzz::expect(replayed > 0, "nothing to replay");
    std::cout << replayed << " inputs" << std::endl;
}
