#include "support/temp_dir.hpp"

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <system_error>

namespace tests {

TempDir::TempDir() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "greensup-test-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr)
        throw std::system_error(errno, std::system_category(), pattern);
    path_ = pattern;
}

TempDir::~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

std::string TempDir::write(const std::string& name, const std::string& text) const {
    const std::string path = *this / name;
    std::ofstream{path} << text;
    return path;
}

}  // namespace tests
