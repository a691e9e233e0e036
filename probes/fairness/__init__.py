"""Who does the model treat differently?"""
