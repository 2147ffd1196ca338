package file

var NetworkFS = networkFS
