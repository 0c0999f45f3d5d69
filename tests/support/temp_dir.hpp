#pragma once

#include <filesystem>
#include <string>

namespace tests {

/// A directory of its own, gone with the object.
class TempDir {
 public:
    TempDir();
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;
    ~TempDir();

    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    [[nodiscard]] std::string operator/(const std::string& name) const {
        return (path_ / name).string();
    }
    /// Writes a file into it and returns its path.
    std::string write(const std::string& name, const std::string& text) const;

 private:
    std::filesystem::path path_;
};

}  // namespace tests
