// A file that appears whole or not at all. Promises: until publish() nothing has the wanted name; after it the file is
// there, durably, and replaced nothing; without it nothing is left behind, even if the program was killed. (File
// systems that know no files without a name keep one beside it then; it is in nobody's way.)
#pragma once
#include <memory>
#include <string>

#include "base/result.hpp"
#include "storage/descriptor.hpp"
#include "storage/device.hpp"
#include "storage/file.hpp"

namespace cowvet::storage {

class NewFile {
 public:
  // An empty file in the folder of the wanted one: without a name, or under one of its own. Errors as
  // create_file(); usage: the wanted name is taken.
  [[nodiscard]] static base::Result<std::unique_ptr<NewFile>> begin(const std::string& wanted,
                                                                    const FileOptions& options = {});
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  ~NewFile();

  [[nodiscard]] Device& device() { return *device_; }
  // Flushes the content, gives the file its name, and makes that durable too. Error usage: the name was taken
  // meanwhile.
  [[nodiscard]] base::Result<void> publish();

 private:
  NewFile(std::string wanted, std::string temporary, Descriptor unnamed, std::unique_ptr<Device> device)
      : wanted_(std::move(wanted)),
        temporary_(std::move(temporary)),
        unnamed_(std::move(unnamed)),
        device_(std::move(device)) {}

  std::string wanted_, temporary_;  // temporary: how it is reached until then
  Descriptor unnamed_;              // keeps a file that has no name; none: it has one
  std::unique_ptr<Device> device_;
  bool published_ = false;
};

}  // namespace cowvet::storage
